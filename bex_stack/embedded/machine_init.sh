#!/bin/sh
# First process of a machine, in namespaces of its own (mount, uts, ipc, pid) and the machine's network.
# Builds a root folder that shows the host's programs and nothing else of it, moves into it, and becomes the
# process that reaps orphans. Usage: machine_init.sh NAME MACHINE_DIR CGROUP KUBERNETES_BIN MACHINE_BIN
set -eu
name=$1 disk=$2 cgroup=$3 kubernetes_bin=$4 machine_bin=$5

# Held until this machine's last process is gone: a machine that was killed may still be dying.
exec 9> "$disk/run/lock"
flock --wait 30 9 || { echo "the earlier $name did not end within 30 s" >&2; exit 1; }

# /proc is still the host's, so this is our id there: what others enter the machine by.
read -r pid _ < /proc/self/stat
rm -f "$disk/run/init.pid"

# Groups of containers that died with the earlier machine cost the kubelet seconds each when it starts.
for group in "/sys/fs/cgroup$cgroup" /sys/fs/cgroup/*"$cgroup"; do
  [ ! -d "$group" ] || find "$group" -mindepth 1 -depth -type d -exec rmdir {} +
done

mount --make-rprivate /
root=$disk/root
mount -t tmpfs -o mode=0755,size=256m "bex-$name" "$root"
cd "$root"
mkdir -p dev etc/cni/net.d etc/cni/builds.d etc/containerd etc/kubernetes opt/bex/kubernetes opt/bex/machine \
  proc root run sys tmp usr var/lib/cni var/lib/containerd var/lib/kubelet \
  var/log/containers var/log/pods var/tmp .host
chmod 1777 tmp var/tmp
ln -s ../run var/run

show() { # show HOST_FOLDER FOLDER: the same folder, read-only
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2"
}
show /usr usr
for folder in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$folder" ]; then
    cp -P "/$folder" "$folder"
  elif [ -d "/$folder" ]; then
    mkdir "$folder"
    show "/$folder" "$folder"
  fi
done
for folder in alternatives ca-certificates pki ssl; do
  [ -d "/etc/$folder" ] || continue
  mkdir "etc/$folder"
  show "/etc/$folder" "etc/$folder"
done
for file in group ld.so.cache localtime nsswitch.conf os-release passwd protocols services; do
  [ ! -e "/etc/$file" ] || cp -L "/etc/$file" "etc/$file"
done
show "$kubernetes_bin" opt/bex/kubernetes
show "$machine_bin" opt/bex/machine
show "$disk/kubernetes" etc/kubernetes
show "$disk/containerd-config" etc/containerd
show "$disk/cni" etc/cni/net.d
show "$disk/cni-builds" etc/cni/builds.d
cp "$disk/etc/hosts" "$disk/etc/resolv.conf" "$disk/etc/machine-id" etc/
echo "$name" > etc/hostname

mount --bind "$disk/containerd" var/lib/containerd
mount --bind "$disk/kubelet" var/lib/kubelet
mount --bind "$disk/pod-logs" var/log/pods
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs run
mkdir run/bex run/lock
mount --bind "$disk/run" run/bex
mount --rbind /dev dev
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
# A new sysfs shows this machine's links; the kubelet needs the host's control groups below it.
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t proc -o nosuid,nodev,noexec proc proc
echo "$name" > proc/sys/kernel/hostname

# The kubelet sets these for the whole host where they differ. It finds what it wants here instead, and
# the host keeps its own (kubelet 1.37, container_manager_linux.go, setupKernelTunables).
mkdir run/sysctl
tunable() {
  [ -e "proc/sys/$1" ] || return 0
  echo "$2" > "run/sysctl/${1##*/}"
  mount --bind "run/sysctl/${1##*/}" "proc/sys/$1"
}
tunable vm/overcommit_memory 1
tunable vm/panic_on_oom 0
tunable kernel/panic 10
tunable kernel/panic_on_oops 1
tunable kernel/keys/root_maxkeys 1000000
tunable kernel/keys/root_maxbytes 25000000
# The kernel gives a pod with users of its own a /proc only where one without such covers is seen.
mkdir run/proc
mount -t proc -o nosuid,nodev,noexec proc run/proc

pivot_root . .host
cd /
umount --lazy /.host
rmdir /.host
mount --make-rshared / # volumes that pods mount must show in other pods

echo "$pid" > /run/bex/init.pid.new
mv /run/bex/init.pid.new /run/bex/init.pid
exec /opt/bex/machine/pause
