#!/bin/bash
# Two machines of a SLURM cluster, one `accelerate launch` on each:
#   sbatch examples/accelerate/slurm.sh train RECIPE --output /shared/run
#   sbatch examples/accelerate/slurm.sh predict MODEL "/data/shards-*.tar" --parquet /shared/emotions
# When the time is up, SLURM sends SIGTERM: a training saves a checkpoint and ends; the same command with --resume goes on.
#SBATCH --job-name=ser-meta
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
set -euo pipefail

GPUS=4  # of each machine
NODES=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
FIRST=${NODES%%$'\n'*}  # without a pipe to head, which may end before the other names are written
export FIRST GPUS
srun --kill-on-bad-exit=1 bash -c 'accelerate launch --config_file examples/accelerate/two_nodes.yaml \
  --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * GPUS))" --machine_rank "$SLURM_NODEID" \
  --main_process_ip "$FIRST" -m ser_meta.training "$@"' ser-meta "$@"
