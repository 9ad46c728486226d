#!/bin/sh
# Inside new mount, uts, ipc and pid namespaces and the machine's network: private folders over the host's
# files, then containerd, kubelet and kube-proxy. Usage: machine.sh NAME ADDRESS DIR API_READY MACHINE_BIN KUBERNETES_BIN
set -eu
name=$1 address=$2 disk=$3 api_ready=$4
export PATH="$5:$6:$PATH"

mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var # nothing of the host's is needed there, and mount points can be made
mkdir -p /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/log/pods /var/log/containers /var/tmp
ln -s /run /var/run
mount --bind "$disk/kubelet" /var/lib/kubelet
mount --bind "$disk/containerd" /var/lib/containerd
mount --bind "$disk/pod-logs" /var/log/pods
mount -t proc proc /proc
hostname "$name"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  echo "${setting#*=}" > "/run/$(basename "${setting%=*}")" # the kubelet finds what it wants; the host keeps its own
  mount --bind "/run/$(basename "${setting%=*}")" "/proc/sys/${setting%=*}"
done
mount --make-rshared /

containerd --config "$disk/containerd.toml" > "$disk/containerd.log" 2>&1 &
until [ -e "$api_ready" ]; do sleep 0.05; done
kube-proxy --config="$disk/kube-proxy.yaml" > "$disk/kube-proxy.log" 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done
kubelet --config="$disk/kubelet.yaml" --kubeconfig="$disk/kubelet.kubeconfig" --hostname-override="$name" \
  --node-ip="$address" > "$disk/kubelet.log" 2>&1 &
wait
