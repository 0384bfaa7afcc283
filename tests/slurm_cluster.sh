#!/bin/sh
# A SLURM cluster of one slurmctld and two slurmd on this machine, for the tests with the marker `slurm`.
#   sudo tests/slurm_cluster.sh start [FOLDER]    installs Debian's packages where they lack, starts, waits for the nodes
#   sudo tests/slurm_cluster.sh stop [FOLDER]
# Then: export SLURM_CONF=FOLDER/slurm.conf; python -m pytest -m slurm. Each node has two cores and two pretended GPUs.
# Two clusters at a time want SLURM_PORT=... for one of them: it takes this port and the two above it.
set -eu
folder=${2:-/tmp/slurm-cluster}
port=${SLURM_PORT:-26817}
NAMES="127.0.0.1 n1 n2 # for $folder"

install_slurm() {
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client
}

write_config() {
    host=$(hostname -s)
    mkdir -p "$folder/state" "$folder/spool-n1" "$folder/spool-n2"
    cat >"$folder/slurm.conf" <<CONF
ClusterName=toy
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
MinJobAge=300
KillWait=5
SchedulerParameters=sched_interval=2,batch_sched_delay=1
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdSpoolDir=$folder/spool-%n
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmdLogFile=$folder/slurmd-%n.log
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
    cat >"$folder/gres.conf" <<CONF
NodeName=n1 Name=gpu File=/dev/tty[10-11] Flags=nvidia_gpu_env
NodeName=n2 Name=gpu File=/dev/tty[20-21] Flags=nvidia_gpu_env
CONF
}

# As on any cluster, a node's name leads to it: torchrun's agents meet there.
name_nodes() {
    grep -qxF "$NAMES" /etc/hosts || echo "$NAMES" >>/etc/hosts
}

forget_nodes() { # /etc/hosts may be a mount, which can't be replaced
    others=$(grep -vxF "$NAMES" /etc/hosts || true)
    echo "$others" >/etc/hosts
}

start() {
    install_slurm
    write_config
    name_nodes
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld -c
    slurmd -N n1
    slurmd -N n2
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --Node --format %t 2>/dev/null | grep -c idle)" = 2 ] && { sinfo --Node; return; }
        sleep 1
    done
    tail -n 20 "$folder"/*.log >&2
    exit 1
}

stop() {
    for file in "$folder"/slurmd-n1.pid "$folder"/slurmd-n2.pid "$folder"/slurmctld.pid; do
        [ -f "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || continue  # it has gone
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    done
    forget_nodes
}

case "${1:-}" in
start) start ;;
stop) stop ;;
*) echo "usage: $0 start|stop [FOLDER]" >&2; exit 2 ;;
esac
