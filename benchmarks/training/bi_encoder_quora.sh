#!/usr/bin/env bash
# The symmetric recipe in full: all-MiniLM-L6-v2 on Quora's duplicate questions, three epochs.
# Quora's data are not for commercial use: the model is not shipped. Log: bi_encoder_quora.log.
set -euo pipefail
data=${1:?usage: bi_encoder_quora.sh DATA_FOLDER OUTPUT_FOLDER [EPOCHS]}
output=${2:?usage: bi_encoder_quora.sh DATA_FOLDER OUTPUT_FOLDER [EPOCHS]}
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
shortlist train bi-encoder "$data/quora" --recipe quora --ranks 5-50 --relative-margin 0.9 \
    --dev "$data/quora:300" --evaluate-every 32 --patience 0 --epochs "${3:-3}" -o "$output/quora-bi-encoder"
