#!/usr/bin/env bash
# How shortlist-cross-encoder-v2 was trained: from v1, on more of the same kinds of data and on titles
# and sentences of papers, which v1 had seen nothing like. V1 is what cross_encoder_v1.sh leaves in
# stage2. Its log is cross_encoder_v2.log beside this file. Interrupted, run it again: it goes on.
set -euo pipefail
data=${1:?usage: cross_encoder_v2.sh DATA_FOLDER OUTPUT_FOLDER V1}
output=${2:?usage: cross_encoder_v2.sh DATA_FOLDER OUTPUT_FOLDER V1}
first=${3:?usage: cross_encoder_v2.sh DATA_FOLDER OUTPUT_FOLDER V1}
# glibc gives every freed tensor back to the system otherwise, and page faults cost a third of the time
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456

held_out=()
for name in squad squadshifts_new_wiki squadshifts_reddit squadshifts_amazon_reviews reqa_squad \
    fever_small medquad msmarco scifact cranfield xquad publications; do
    held_out+=(--held-out "$data/$name")
done

shortlist train cross-encoder "$data/squad:5000" "$data/squadshifts_new_wiki:1200" \
    "$data/squadshifts_reddit:1000" "$data/squadshifts_amazon_reviews:1000" "$data/medquad:1000" \
    "$data/fever_small:1400" "$data/reqa_squad:400" --unlabelled "$data/publications:2500" \
    --init "$first" --max-passages 8000 --learning-rate 5e-5 --warmup-steps 40 \
    --batch 16 --max-tokens 192 --seed 2 "${held_out[@]}" -o "$output/shortlist-cross-encoder-v2"
