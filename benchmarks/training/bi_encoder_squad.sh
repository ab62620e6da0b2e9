#!/usr/bin/env bash
# The asymmetric recipe on SQuAD-like data: all-MiniLM-L6-v2 on questions and paragraphs, one mined
# negative each, one epoch. Log: bi_encoder_squad.log.
set -euo pipefail
data=${1:?usage: bi_encoder_squad.sh DATA_FOLDER OUTPUT_FOLDER}
output=${2:?usage: bi_encoder_squad.sh DATA_FOLDER OUTPUT_FOLDER}
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
shortlist train bi-encoder "$data/squad:4000" "$data/squadshifts_new_wiki:2000" --recipe msmarco \
    --held-out "$data/xquad" --held-out "$data/reqa_squad" --warmup-steps 20 --max-passages 8000 \
    --dev "$data/squadshifts_new_wiki:150" --evaluate-every 45 --patience 0 -o "$output/squad-bi-encoder"
