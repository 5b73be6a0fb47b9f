#!/bin/bash
# Machines that plain SSH reaches, the first of which the others reach under the name given here:
#   HOSTS="node1 node2" PROCESSES=4 bash examples/accelerate/ssh.sh train RECIPE --output /shared/run
# PROCESSES is of one machine. Each machine has this folder, and the environment in which `accelerate` is found, under
# the same path. One that fails ends the others; the same command with --resume goes on.
set -euo pipefail

read -r -a hosts <<< "$HOSTS"
folder=$PWD path=$PATH jobs=()
for place in "${!hosts[@]}"; do
  launch=(accelerate launch --config_file examples/accelerate/two_nodes.yaml
    --num_machines "${#hosts[@]}" --num_processes "$((${#hosts[@]} * PROCESSES))" --machine_rank "$place"
    --main_process_ip "${hosts[0]}" -m ser_meta.training "$@")
  # -tt: what runs there ends when the connection does
  ssh -tt "${hosts[$place]}" "cd $(printf %q "$folder") && PATH=$(printf %q "$path") $(printf '%q ' "${launch[@]}")" < /dev/null &
  jobs+=($!)
done
trap 'kill "${jobs[@]}" 2> /dev/null || true' EXIT
for _ in "${jobs[@]}"; do wait -n; done
