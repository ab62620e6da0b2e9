#!/usr/bin/env bash
# How shortlist-student-v1 was trained: the lowest three of the six layers of the cross-encoder named,
# taught by it. It chooses candidates in a cascade (benchmarks/cascade.py). Its log is student_v1.log
# beside this file.
set -euo pipefail
data=${1:?usage: student_v1.sh DATA_FOLDER OUTPUT_FOLDER TEACHER [EPOCHS]}
output=${2:?usage: student_v1.sh DATA_FOLDER OUTPUT_FOLDER TEACHER [EPOCHS]}
teacher=${3:?usage: student_v1.sh DATA_FOLDER OUTPUT_FOLDER TEACHER [EPOCHS]}
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456

held_out=()
for name in squad squadshifts_new_wiki squadshifts_reddit squadshifts_amazon_reviews reqa_squad \
    fever_small medquad msmarco scifact cranfield xquad publications; do
    held_out+=(--held-out "$data/$name")
done

shortlist train cross-encoder "$data/squad:4000" "$data/squadshifts_new_wiki:1000" \
    "$data/squadshifts_reddit:600" "$data/squadshifts_amazon_reviews:400" "$data/medquad:800" \
    "$data/fever_small:600" --unlabelled "$data/publications:600" \
    --init "$teacher" --teacher "$teacher" --layers 3 --negatives 6 --relative-margin 0 --ranks 1-100 \
    --max-passages 6000 --learning-rate 2e-4 --warmup-steps 40 --batch 16 --max-tokens 128 \
    --read-tokens 128 --epochs "${4:-2}" --seed 3 "${held_out[@]}" -o "$output/shortlist-student-v1"
