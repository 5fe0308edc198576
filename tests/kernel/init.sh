#!/bin/busybox sh
# The guest's first process. In the initramfs it finds the modules to load, in order, in /modules/order; then it puts
# a writable overlay over the host's folder $ROOT, and runs the agent there until the host is gone.
set -e
/bin/busybox --install -s /bin
. /settings
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done < /modules/order

mount -t virtiofs -o ro host /host
mount -t tmpfs -o mode=755,size=80% overlay /overlay
mkdir /overlay/upper /overlay/work
mount -t overlay -o "lowerdir=/host$ROOT,upperdir=/overlay/upper,workdir=/overlay/work" root /root

mount -t tmpfs -o mode=755 run /root/run
mkdir -p "/root/lib/modules/$(uname -r)"
mount -o bind "/host$MODULES" "/root/lib/modules/$(uname -r)"
if [ "$ROOT" != / ]; then
    mkdir -p "/root$CHECKOUT"
    mount -o bind "/host$CHECKOUT" "/root$CHECKOUT"
fi
for folder in dev proc sys; do mount -o move "/$folder" "/root/$folder"; done
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t debugfs debugfs /root/sys/kernel/debug
mount -t tracefs tracefs /root/sys/kernel/tracing
hostname "$NAME"
ip link set lo up

cd "/root$CHECKOUT"
exec chroot /root /bin/sh -c "cd '$CHECKOUT'; '$PYTHON' -S -E -m tests.kernel.agent; busybox poweroff -f" > /dev/console 2>&1
