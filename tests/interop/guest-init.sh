# Process 1 of the client guest. /host is the run directory that the guest shares with the tests:
# a snippet that they put into /host/commands as NAME.sh is run here; its output goes to NAME.out
# and its exit status to NAME.status. The functions below are there for the snippets. What belongs
# to one PPP session is in /host/dials/NAME.
export PATH=/sbin:/bin:/usr/sbin:/usr/bin:/run/busybox HOME=/

busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t tmpfs tmpfs /run
busybox mkdir /run/busybox
busybox --install -s /run/busybox
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for directory in /etc /tmp /var /lib/modules; do mount -t tmpfs tmpfs $directory; done
mkdir -p /var/run /var/log /etc/ppp
ln -s /usr/lib/uml/modules/* /lib/modules/

# ---- functions

mkfifo /run/idle
exec 9<>/run/idle
# nap SECONDS: sleep without starting a process (nothing is ever written to descriptor 9)
nap() { read -r -t "$1" -u 9; }

# start_lac NAME: the xl2tpd of one tunnel. A second call on its tunnel makes it read through a
# null pointer (1.3.18); a page of zeros at address 0 gets it past that.
start_lac() {
    local lac=/host/dials/$1 try
    setsid setarch x86_64 --mmap-page-zero xl2tpd -D -c "$lac/xl2tpd.conf" \
        -p "/run/$1.pid" -C "/run/$1.control" > "$lac/xl2tpd.log" 2>&1 < /dev/null &
    for ((try = 0; try < 200; try++)); do
        [ -p "/run/$1.control" ] && return
        nap 0.02
    done
    return 1
}

# connect NAME LAC TARGET: have the xl2tpd of LAC place the call of NAME; TARGET is its name for
# a new tunnel, or the number of the tunnel to use
connect() {
    echo "file /host/dials/$1/options" > /etc/ppp/options
    echo "$EPOCHREALTIME" > "/host/dials/$1/dialled"
    echo "c $3" > "/run/$2.control"
}

# signal_pppd SIGNAL NAME
signal_pppd() {
    local pid=0
    read -r pid < "/var/run/ppp-$2.pid" && kill "-$1" "$pid"
}

# stop_lac NAME: end an xl2tpd (it sends StopCCN) and wait until it is gone. One that has ended
# but was not reaped yet has no /proc/PID/exe any more.
stop_lac() {
    local pid try
    read -r pid < "/run/$1.pid" || return 0
    for ((try = 0; try < 100; try++)); do
        [ -e "/proc/$pid/exe" ] || break
        kill -TERM "$pid"
        nap 0.05
    done
    rm -f "/run/$1.pid" "/run/$1.control"
    [ $try -lt 100 ]
} 2> /dev/null

# kill_lac NAME: end an xl2tpd before it can send anything
kill_lac() {
    local pid
    read -r pid < "/run/$1.pid" && kill -KILL "$pid"
    rm -f "/run/$1.pid" "/run/$1.control"
}

# ---- pppd: its hook notes what a session was given; ipparam is the name of the dial

cat > /etc/ppp/ip-up << 'EOF'
#!/bin/bash
cd "/host/dials/$6" || exit
{
    echo "time=$EPOCHREALTIME"
    echo "interface=$1"
    echo "local=$4"
    echo "remote=$5"
    echo "dns1=$DNS1"
    echo "dns2=$DNS2"
    for name in mtu statistics/rx_bytes statistics/tx_bytes; do
        echo "${name#*/}=$(< "/sys/class/net/$1/$name")"
    done
} > up.new
/bin/busybox mv up.new up
EOF
chmod 755 /etc/ppp/ip-up
echo 'root:x:0:0::/:/bin/bash' > /etc/passwd
echo 'root:x:0:' > /etc/group
echo '127.0.0.1 localhost client.test' > /etc/hosts
echo 'hosts: files dns' > /etc/nsswitch.conf

# ---- kernel and network

modprobe -a ppp_generic ppp_async l2tp_ppp
echo 0 > /proc/sys/vm/mmap_min_addr
for file in /proc/sys/net/ipv6/conf/{all,default}/disable_ipv6; do echo 1 > $file; done
hostname client.test
ip link set lo up
ip addr add "$address" dev vec0
ip link set vec0 up

# ---- serve the host

declare -A seen
shopt -s nullglob
: > /host/ready
while :; do
    for snippet in /host/commands/*.sh; do
        [ -n "${seen[$snippet]}" ] && continue
        seen[$snippet]=1
        (
            ( . "$snippet" ) > "${snippet%.sh}.out" 2>&1 < /dev/null
            echo $? > "${snippet%.sh}.new"
            mv "${snippet%.sh}.new" "${snippet%.sh}.status"
        ) &
    done
    nap 0.02
done
