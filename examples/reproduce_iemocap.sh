#!/usr/bin/env bash
# The paper's Tables I to IV on IEMOCAP with its three encoders, five folds each; the paper's own figures stand beside.
#
#   examples/reproduce_iemocap.sh /path/to/IEMOCAP_full_release studies/iemocap [SETTING=VALUE or OPTION ...]
#
# What has finished is not trained again: after an interruption the same command goes on. A GPU for each of four folds:
#
#   examples/reproduce_iemocap.sh /path/to/IEMOCAP_full_release studies/iemocap precision=bf16 --at-once 4
#
# Some of the tables or of the encoders alone: TABLES="1 2" RECIPES=iemocap-wavlm-base examples/reproduce_iemocap.sh ...
# What to expect: examples/iemocap/README.md
set -eu
usage="usage: $0 IEMOCAP_FULL_RELEASE STUDY_FOLDER [SETTING=VALUE or OPTION ...]"
release=${1:?$usage}
study=${2:?$usage}
shift 2
for table in ${TABLES:-1 2 3 4}; do
  # shellcheck disable=SC2086 # several names
  ser-meta ablate "$table" ${RECIPES:-iemocap-wav2vec2-base iemocap-hubert-base iemocap-wavlm-base} \
    data.root="$release" --output "$study" "$@"
done
