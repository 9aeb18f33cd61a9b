#!/usr/bin/env bash
# Builds a Debian 12 box for libvirt, where none can be downloaded: build.sh [OUT.box]
#
# Without a virtual machine, a loop device or a mount: mmdebstrap makes the files, mkfs.ext4 an image of them, and GRUB's
# two pieces are put before it. kubeshim's own set-up runs in it now, on the real processor, not later under emulation.
# MIRROR=URL takes the packages from there; SIZE=8192 is the disk in MiB.
set -euo pipefail
out=$(realpath -m "${1:-kubeshim.box}")
here=$(dirname "$(realpath "$0")")
checkout=$(realpath "$here/../..")
size=${SIZE:-8192}
PATH=$PATH:/usr/sbin:/sbin
for need in mmdebstrap:mmdebstrap sfdisk:fdisk qemu-img:qemu-utils mkfs.ext4:e2fsprogs grub-mkimage:grub-common; do
    command -v ${need%%:*} >/dev/null || { echo "${need%%:*} is missing: apt-get install ${need##*:}" >&2; exit 1; }
done
[ -e /usr/lib/grub/i386-pc/boot.img ] || { echo "GRUB for BIOS is missing: apt-get install grub-pc-bin" >&2; exit 1; }
key=$(find /usr/share/rubygems-integration /opt/vagrant -name vagrant.pub -path '*/keys/*' 2>/dev/null | head -1 || true)
[ -n "$key" ] || { echo "Vagrant's public key was not found: apt-get install vagrant" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/box.XXXXXX")
trap 'rm -rf "$work"' EXIT
say() { echo "==> $* ($SECONDS s)"; }

packages=(
    linux-image-cloud-amd64 initramfs-tools zstd systemd-sysv systemd-resolved dbus udev kmod # boots
    openssh-server sudo rsync ca-certificates iproute2 netbase procps less                    # Vagrant comes in
    python3 python3-venv iptables busybox-static curl iputils-ping                            # setup.sh finds all there
    etcd-server etcd-client                                                                   # of several masters
)
say "making the files"
mmdebstrap --quiet --mode=root --variant=minbase --include="$(IFS=, && echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' --customize-hook="$here/customize.sh \"\$1\" \"$checkout\" \"$key\"" \
    bookworm "$work/root" ${MIRROR:+"$MIRROR"}

say "making the disk"
truncate -s "${size}M" "$work/disk.img"
start=2048 # sectors before the partition: the boot record, and GRUB
printf 'label: dos\nstart=%d, type=83, bootable\n' $start | sfdisk -q "$work/disk.img"
mkfs.ext4 -q -L root -E offset=$((start * 512)),root_owner=0:0 -d "$work/root" "$work/disk.img" $(((size - 1) * 1024))k
printf 'set root=(hd0,msdos1)\nconfigfile /boot/grub/grub.cfg\n' >"$work/early.cfg"
grub-mkimage -O i386-pc -o "$work/core.img" -c "$work/early.cfg" -p '(hd0,msdos1)/boot/grub' \
    biosdisk part_msdos ext2 linux normal configfile boot
[ "$(stat -c %s "$work/core.img")" -lt $(((start - 1) * 512)) ]
# the boot record's code ends where its partition table begins; it reads sector 1, which knows that the rest follows
dd if=/usr/lib/grub/i386-pc/boot.img of="$work/disk.img" bs=1 count=440 conv=notrunc status=none
dd if="$work/core.img" of="$work/disk.img" bs=512 seek=1 conv=notrunc status=none

say "packing"
mkdir "$work/box"
qemu-img convert -O qcow2 -c "$work/disk.img" "$work/box/box.img"
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %d}\n' $(((size + 1023) / 1024)) >"$work/box/metadata.json"
echo 'Vagrant.configure("2") { |config| config.vm.provider(:libvirt) { |machine| machine.disk_bus = "virtio" } }' >"$work/box/Vagrantfile"
tar -C "$work/box" --sparse -cf "$out" metadata.json Vagrantfile box.img
say "$out, $(du -m "$out" | cut -f1) MB"
