#!/usr/bin/env bash
# How shortlist-cross-encoder-v1 was trained: two commands, about three quarters of an hour on two cores.
# (Since then training goes by sentence-transformers' trainer, so another run ends near it, not at it.)
# Its log is cross_encoder_v1.log beside this file. Interrupted, run it again: it goes on.
set -euo pipefail
data=${1:?usage: cross_encoder_v1.sh DATA_FOLDER OUTPUT_FOLDER}
output=${2:?usage: cross_encoder_v1.sh DATA_FOLDER OUTPUT_FOLDER}
# glibc gives every freed tensor back to the system otherwise, and page faults cost a third of the time
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456

held_out=()
for name in squad squadshifts_new_wiki squadshifts_reddit squadshifts_amazon_reviews reqa_squad \
    fever_small medquad msmarco scifact cranfield xquad; do
    held_out+=(--held-out "$data/$name")
done

# 1. Question -> sentence: short pairs, so that what a match is gets learnt cheaply.
test -d "$output/stage1" || shortlist train cross-encoder "$data/reqa_squad:5000" \
    --max-passages 5000 --learning-rate 1e-4 --max-tokens 96 "${held_out[@]}" -o "$output/stage1"

# 2. A mixture of kinds of text, so that it holds on foreign ground. All of it may be used
#    commercially (CC BY, CC BY-SA).
shortlist train cross-encoder "$data/squad:1800" "$data/squadshifts_new_wiki:900" \
    "$data/squadshifts_reddit:400" "$data/squadshifts_amazon_reviews:400" "$data/reqa_squad:600" \
    "$data/medquad:600" "$data/fever_small:500" --init "$output/stage1" \
    --max-passages 3000 --learning-rate 6e-5 --max-tokens 192 --batch 14 \
    "${held_out[@]}" -o "$output/stage2"
