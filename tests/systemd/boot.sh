#!/bin/sh
# Boots the systemd of this machine in namespaces of its own: `boot.sh WORK PACKAGES`, as root, under
#
#   unshare -m -p -f -i -u -n --propagation private --kill-child
#
# Its root is an overlay on that of this machine, so that nothing in it changes: what is written goes to a tmpfs on WORK,
# which ends with the mount namespace. /run, /tmp, /proc, /sys and /dev are its own. What lies in WORK/install is copied
# into the new root, WORK/shared is at /shared there, and the directory PACKAGES at /srv/packages. When it has booted, it
# says so on the socket WORK/shared/notify, as sd_notify(3) does.
#
# It moves itself into a control group of its own, below its own, for systemd to have as its root: that is left to the caller
# to remove, and its path stands in WORK/cgroup.
set -eu
work=$1
packages=$2

unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
own=$(sed -n 's/^0:://p' /proc/self/cgroup)
group="$unified${own%/}/rwsgi-test-systemd-$(basename "$work")"
mkdir "$group"
printf '%s\n' "$group" >"$work/cgroup"
echo 0 >"$group/cgroup.procs"

layers=$work/layers
mkdir "$layers"
mount -t tmpfs -o mode=755 tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/root"
root=$layers/root
mount -t overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" overlay "$root"
for directory in run tmp var/tmp; do
    mount -t tmpfs -o mode=1777 tmpfs "$root/$directory"
done
chmod 755 "$root/run"
mount -t proc proc "$root/proc"
# What is set there is set for the whole machine.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"

# No service of this machine starts in the copy of it.
rm -rf "$root/etc/systemd/system" "$root/etc/fstab"
mkdir "$root/etc/systemd/system"
# Nor does anything that is about hardware or the kernel.
for unit in systemd-sysctl.service systemd-modules-load.service systemd-random-seed.service systemd-remount-fs.service \
    systemd-udevd.service systemd-udev-trigger.service systemd-update-utmp.service kmod-static-nodes.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount \
    dev-hugepages.mount proc-sys-fs-binfmt_misc.automount systemd-journal-flush.service systemd-tmpfiles-setup-dev.service; do
    ln -s /dev/null "$root/etc/systemd/system/$unit"
done
: >"$root/etc/fstab"
: >"$root/etc/machine-id"
cp -R "$work/install/." "$root/"
mkdir "$root/shared"
mount --bind "$work/shared" "$root/shared"
if [ -n "$packages" ]; then
    mkdir -p "$root/srv/packages"
    mount --bind "$packages" "$root/srv/packages"
fi

cd "$root"
mkdir old
pivot_root . old
# The namespace of control groups is made here, where the group that systemd gets is ours already.
exec unshare -C sh -c '
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    umount -l /old
    rmdir /old
    exec env -i container=lxc NOTIFY_SOCKET=/shared/notify PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=no
' </dev/null
