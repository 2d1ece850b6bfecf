#!/usr/bin/env bash
# README's first command, from built programs: both restores equal their sources although a worker died.
set -euo pipefail
HOLDFAST_BIN=$HOLDFAST_BUILD exec deploy/quickstart --scale 15
