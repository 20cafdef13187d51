#!/bin/bash
# cluster.sh: a throw-away Slurm cluster on this machine, for tests: a host to submit from and three
# nodes, each with namespaces of its own (network, host name, processes, /tmp), joined by a bridge.
# Everything lies in one folder; no service of the machine is used or touched, and only processes
# noted in DIR/pids are ended, by pid and start time. Needs root and the right to make namespaces.
#   cluster.sh can                  exits 0 where a cluster can be started, else says why not
#   cluster.sh up DIR               starts it; OPTIONS by environment: ACCOUNTING=1|0 (slurmdbd and
#                                   MariaDB), CPUS=2 MEMORY=4000 GPUS=2 a node, KILL_WAIT=5,
#                                   NODE_TIMEOUT=10
#   cluster.sh down DIR             stops it; the folder stays
#   cluster.sh node DIR NODE WHAT   WHAT: kill (slurmd dies, its jobs live on), start (slurmd again),
#                                   crash (the node is gone at once), boot (it is back), cut (its cable
#                                   is pulled), join (plugged in again)
#   DIR/bin/on HOST COMMAND...      runs a command on ctl, n1, n2 or n3. DIR/bin also holds sbatch,
#                                   squeue ... that go in by themselves: put it first on PATH
set -eu
export PATH=$PATH:/usr/sbin:/sbin
NET=10.53.0 NODES="n1 n2 n3"
die() {
    echo "cluster.sh: $*" >&2
    exit 1
}

till() { # TRIES COMMAND...: until it succeeds, at most so often, every 0.1 s
    local n=$1
    shift
    until "$@" >/dev/null 2>&1; do
        n=$((n - 1))
        [ $n -gt 0 ] || return 1
        sleep 0.1
    done
}
start_time() { # PID: as /proc knows it, nothing for a process that is gone
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
    set -- ${stat##*) }
    [ "$1" = Z ] || echo "${20}"
}
first_child() { # PID: it has no size and no newline at its end
    local children=
    read -r children <"/proc/$1/task/$1/children" || true
    [ -n "$children" ] && echo "${children%% *}"
}
note() { # NAME PID: what is started here, and may be ended here
    echo "$1 $2 $(start_time "$2")" >>"$D/pids"
    echo "$2" >"$D/run/$1.pid"
}
pid_of() { cat "$D/run/$1.pid"; }
on() { "$D/bin/on" "$@"; }

# host NAME: namespaces whose first process only reaps; killing it is a power cut.
host() {
    local outer inner
    unshare -n -m -u -p -f --mount-proc --propagation private -- \
        bash -c 'trap : TERM; while :; do sleep 1000 & wait; done' "host-$1" </dev/null >/dev/null 2>&1 &
    outer=$!
    till 50 first_child $outer || die "no namespaces for $1"
    inner=$(first_child $outer)
    note "host-$1" "$inner"
    nsenter -t "$inner" -n -m -u -p -- bash -euc '
        hostname "$1" && ip link set lo up && mount --bind "$2/hosts" /etc/hosts
        # A /tmp of its own, unless what the tests need lies in there.
        case $1:$3 in ctl:* | *:shared) ;; *) mkdir -p "$2/tmp/$1" && mount --bind "$2/tmp/$1" /tmp ;; esac
    ' - "$1" "$D" "$TMP_KIND"
}
wire() { # NODE: a cable to the bridge
    nsenter -t "$(pid_of host-ctl)" -n -- bash -euc '
        ip link del "to-$1" 2>/dev/null || true
        ip link add "to-$1" type veth peer name eth0 netns "$2"
        ip link set "to-$1" master br0 && ip link set "to-$1" up' - "$1" "$(pid_of "host-$1")"
    nsenter -t "$(pid_of "host-$1")" -n -- bash -euc '
        ip addr add "$1" dev eth0 && ip link set eth0 up' - "$NET.${1#n}/24"
}
service() { # HOST NAME COMMAND...: in the background, noted by its pid out here
    local where=$1 name=$2 outer
    shift 2
    "$D/bin/on" "$where" "$@" </dev/null >>"$D/log/$name.log" 2>&1 &
    outer=$!
    till 50 first_child $outer || die "$name did not start: $(tail -n 3 "$D/log/$name.log")"
    note "$name" "$(first_child $outer)"
}
node_service() { service "$1" "slurmd-$1" slurmd -D -N "$1"; }

settings() { # DIR: what `up` wrote down
    D=$(cd "$1" 2>/dev/null && pwd) || die "no folder $1"
    [ -e "$D/etc/settings" ] || die "no cluster in $D"
    . "$D/etc/settings"
}

cluster_can() {
    local c
    for c in munged slurmctld slurmd sbatch mpirun nsenter unshare ip; do
        command -v $c >/dev/null || die "$c is missing: jobs/install.sh --tests"
    done
    [ "$(id -u)" = 0 ] || die "not root: namespaces cannot be made"
    unshare -n -m -u -p -f --mount-proc --propagation private -- bash -c \
        'ip link add br0 type bridge && mount --bind /etc/hosts /etc/hosts' 2>/dev/null ||
        die "namespaces are not permitted here"
}

write_tools() {
    local c real
    cat >"$D/bin/on" <<END
#!/bin/bash
# on HOST COMMAND...: runs a command on ctl, n1, n2 or n3.
set -eu
host=\$1 && shift
export SLURM_CONF=$D/etc/slurm.conf OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# The folder is entered inside: one from outside the mount namespace has no name there.
exec nsenter -t \$(cat $D/run/host-\$host.pid) -n -m -u -p -- bash -c 'cd "\$0" && exec "\$@"' "\$PWD" "\$@"
END
    chmod +x "$D/bin/on"
    for c in sbatch srun salloc squeue sinfo scontrol scancel sacct sacctmgr; do
        real=$(command -v $c) || continue
        cat >"$D/bin/$c" <<END
#!/bin/bash
case \$(uname -n) in ctl | n[0-9]) exec $real "\$@" ;; esac
exec $D/bin/on ctl $real "\$@"
END
        chmod +x "$D/bin/$c"
    done
}

start_accounting() {
    local sql=(mariadb --no-defaults -u root -S "$D/run/db.socket" -e)
    mariadb-install-db --no-defaults --user=root --datadir="$D/state/db" \
        --auth-root-authentication-method=normal --skip-test-db >"$D/log/mariadb-install.log" 2>&1
    service ctl mariadbd mariadbd --no-defaults --user=root --datadir="$D/state/db" \
        --socket="$D/run/db.socket" --pid-file="$D/run/mariadbd.own" --bind-address=127.0.0.1 \
        --port=16833 --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0
    till 300 "${sql[@]}" 'select 1' || die "MariaDB does not answer"
    "${sql[@]}" "create database slurm; create user slurm@'127.0.0.1' identified by 'throw-away';
        create user slurm@'localhost' identified by 'throw-away';
        grant all on slurm.* to slurm@'127.0.0.1'; grant all on slurm.* to slurm@'localhost';"
    (umask 077 && cat >"$D/etc/slurmdbd.conf") <<END
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.socket
DbdHost=ctl
DbdAddr=$NET.254
DbdPort=16819
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=16833
StorageUser=slurm
StoragePass=throw-away
StorageLoc=slurm
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.own
END
    service ctl slurmdbd slurmdbd -D
    till 200 timeout 5 "$D/bin/on" ctl sacctmgr -n list cluster || die "slurmdbd does not answer"
}

write_conf() {
    local n i=0
    # Pretended GPUs are copies of /dev/null: gres.conf takes device files only.
    while [ $i -lt "$GPUS" ]; do
        mknod "$D/gpu/gpu$i" c 1 3 2>/dev/null || GPUS=0
        i=$((i + 1))
    done
    : >"$D/etc/cgroup.conf"
    : >"$D/etc/gres.conf"
    [ "$GPUS" = 0 ] || echo "Name=gpu File=$D/gpu/gpu[0-$((GPUS - 1))]" >"$D/etc/gres.conf"
    cat <<END
ClusterName=throwaway
SlurmctldHost=ctl($NET.254)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.socket
CredType=cred/munge
PlugStackConfig=/dev/null
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=$((MEMORY / CPUS))
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=$KILL_WAIT
SlurmdTimeout=$NODE_TIMEOUT
SlurmctldTimeout=30
MessageTimeout=10
InactiveLimit=0
MinJobAge=600
SchedulerParameters=sched_interval=5,bf_interval=3
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.own
SlurmdPidFile=$D/run/slurmd.%n.own
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.%n.log
END
    if [ "$ACCOUNTING" = 1 ]; then
        cat <<END
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=$NET.254
AccountingStoragePort=16819
AccountingStoragePass=$D/run/munge.socket
END
    else
        echo AccountingStorageType=accounting_storage/none
    fi
    for n in $NODES; do
        echo "NodeName=$n NodeAddr=$NET.${n#n} NodeHostname=$n Port=16818 CPUs=$CPUS" \
            "RealMemory=$MEMORY Gres=gpu:$GPUS State=UNKNOWN"
    done
    local part="Nodes=ALL MaxTime=INFINITE State=UP"
    echo "PartitionName=main $part Default=YES PriorityTier=10 PreemptMode=OFF"
    echo "PartitionName=spare $part PriorityTier=1 PreemptMode=REQUEUE GraceTime=10"
}

nodes_ready() { [ "$(on ctl sinfo -h -N -p main -t idle -o %N | sort -u | wc -l)" = 3 ]; }

up_failed() {
    trap - EXIT
    { echo "cluster.sh: not up" && tail -n 5 "$D"/log/*.log; } >&2 2>/dev/null || true
    cluster_down "$D" >&2 || true
    exit 1
}

cluster_up() {
    local n
    ACCOUNTING=${ACCOUNTING:-1} CPUS=${CPUS:-2} MEMORY=${MEMORY:-4000} GPUS=${GPUS:-2}
    KILL_WAIT=${KILL_WAIT:-5} NODE_TIMEOUT=${NODE_TIMEOUT:-10}
    mkdir -p "$1"
    D=$(cd "$1" && pwd)
    [ ${#D} -le 60 ] || die "$D is longer than 60 characters: socket names in it would not fit"
    [ ! -e "$D/pids" ] || die "$D/pids exists: a cluster runs there, or was not stopped"
    cluster_can
    command -v slurmdbd mariadbd mariadb-install-db >/dev/null || ACCOUNTING=0
    # The nodes see this machine's files; only /tmp is each one's own, where nothing of ours lies in it.
    TMP_KIND=own
    case "$D/:$PWD/" in /tmp/* | *:/tmp/*) TMP_KIND=shared ;; esac
    mkdir -p "$D"/{etc,log,run,state,spool,bin,gpu,tmp}
    chmod 755 "$D" "$D/run"
    : >"$D/pids"
    echo "TMP_KIND=$TMP_KIND" >"$D/etc/settings"
    trap up_failed EXIT
    {
        echo "127.0.0.1 localhost" && echo "$NET.254 ctl"
        for n in $NODES; do echo "$NET.${n#n} $n"; done
    } >"$D/hosts"
    write_tools
    host ctl
    nsenter -t "$(pid_of host-ctl)" -n -- bash -euc "
        ip link add br0 type bridge && ip addr add $NET.254/24 dev br0 && ip link set br0 up"
    for n in $NODES; do host "$n" && wire "$n"; done
    (umask 077 && head -c 1024 /dev/urandom >"$D/etc/munge.key")
    service ctl munged munged --foreground --force --key-file="$D/etc/munge.key" \
        --socket="$D/run/munge.socket" --pid-file="$D/run/munged.own" \
        --log-file="$D/log/munge.log" --seed-file="$D/state/munge.seed"
    till 100 test -S "$D/run/munge.socket"
    write_conf >"$D/etc/slurm.conf"
    [ "$ACCOUNTING" = 0 ] || start_accounting
    service ctl slurmctld slurmctld -D -i
    till 200 timeout 5 "$D/bin/on" ctl scontrol ping
    for n in $NODES; do mkdir -p "$D/spool/$n" && node_service "$n"; done
    till 300 nodes_ready || die "the nodes are not idle"
    trap - EXIT
    echo "up in $D, accounting $ACCOUNTING"
}

# stop SIGNAL TENTHS PATTERN: signals what is ours, last started first, and waits for it.
stop() {
    local name pid began alive n=$2
    while read -r name pid began; do
        if [[ $name =~ $3 ]] && [ "$(start_time "$pid")" = "$began" ]; then kill "-$1" "$pid" 2>/dev/null || true; fi
    done < <(tac "$D/pids")
    while :; do
        alive=
        while read -r name pid began; do
            if [[ $name =~ $3 ]] && [ "$(start_time "$pid")" = "$began" ]; then alive=1; fi
        done <"$D/pids"
        [ -n "$alive" ] || return 0
        n=$((n - 1))
        [ $n -gt 0 ] || return 1
        sleep 0.1
    done
}

cluster_down() {
    D=$(cd "$1" 2>/dev/null && pwd) || die "no folder $1"
    [ -e "$D/pids" ] || return 0
    if [ -x "$D/bin/on" ] && [ -e "$D/run/slurmctld.pid" ]; then
        timeout 5 "$D/bin/on" ctl scancel --user=root >/dev/null 2>&1 || true
    fi
    local what
    for what in '^slurmd-' '^slurmctld$' '^slurmdbd$' '^mariadbd$' '^munged$'; do
        stop TERM 50 "$what" || stop KILL 50 "$what" || true
    done
    # With a host's first process goes whatever is left in its namespaces.
    stop KILL 100 '^host-' || die "hosts are left: see $D/pids"
    rm -f "$D/pids"
}

end() { # NAME: at once
    local name pid began
    read -r name pid began < <(awk -v name="$1" '$1 == name { line = $0 } END { print line }' "$D/pids")
    [ "$(start_time "$pid")" = "$began" ] || return 0
    kill -KILL "$pid"
    till 100 bash -c "! kill -0 $pid"
}

cluster_node() { # NODE WHAT
    case $2 in
    kill) end "slurmd-$1" ;;
    start) node_service "$1" ;;
    crash) end "host-$1" ;;
    boot) # what the crash left would refuse a requeued job, which has the same id
        rm -rf "$D/spool/$1"/{stepd.slurm.pmix.*,pmix.*} "$D/tmp/$1"/*
        host "$1" && wire "$1" && node_service "$1"
        ;;
    cut) nsenter -t "$(pid_of host-ctl)" -n -- ip link set "to-$1" down ;;
    join) nsenter -t "$(pid_of host-ctl)" -n -- ip link set "to-$1" up ;;
    *) die "unknown: $2" ;;
    esac
}

case "${1-}" in
can) cluster_can ;;
up) cluster_up "${2:?DIR}" ;;
down) cluster_down "${2:?DIR}" ;;
node)
    settings "${2:?DIR}"
    cluster_node "${3:?NODE}" "${4:?WHAT}"
    ;;
-h | --help) sed -n '2,16s/^# \{0,1\}//p' "$0" ;;
*) die "can, up, down or node is wanted; --help says more" ;;
esac
