#!/usr/bin/env bash
# What makes a folder with Debian in it a box: customize.sh ROOT CHECKOUT VAGRANT-KEY. Called by build.sh in mmdebstrap.
set -euo pipefail
root=$1 checkout=$2 key=$3
inside() { chroot "$root" "$@"; }

# -- Vagrant's user, who comes in by Vagrant's well-known key and may do everything
inside useradd -m -s /bin/bash vagrant
echo vagrant:vagrant | inside chpasswd
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$key" "$root/home/vagrant/.ssh/authorized_keys"
inside chown -R vagrant:vagrant /home/vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"
echo 'UseDNS no' >"$root/etc/ssh/sshd_config.d/vagrant.conf"

# -- a small system
echo bookworm >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 bookworm\n' >"$root/etc/hosts"
echo 'LABEL=root / ext4 defaults,noatime 0 0' >"$root/etc/fstab"
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n[DHCPv4]\nClientIdentifier=mac\n' >"$root/etc/systemd/network/80-eth0.network"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/volatile.conf"
printf '%s\n' overlay br_netfilter vxlan >"$root/etc/modules-load.d/kubeshim.conf"
inside systemctl -q enable systemd-networkd systemd-resolved ssh
inside systemctl -q disable etcd systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
    fstrim.timer dpkg-db-backup.timer 2>/dev/null
# what takes seconds under emulation and serves nobody here
inside systemctl -q mask e2scrub_reap.service modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \
    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service systemd-pstore.service getty@tty1.service \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount
printf 'blacklist %s\n' kvm_amd kvm_intel kvm bochs cirrus psmouse iTCO_wdt i2c_i801 lpc_ich pcspkr >"$root/etc/modprobe.d/small.conf"

# -- a host key of its own at the first boot, of the kind that is quick to make
rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/systemd/system/ssh-hostkey.service" <<'UNIT'
[Unit]
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=ssh.service
UNIT
inside systemctl -q enable ssh-hostkey

# -- boots by itself: only the drivers that QEMU needs
printf 'MODULES=list\nCOMPRESS=zstd\n' >"$root/etc/initramfs-tools/conf.d/small"
printf '%s\n' virtio_pci virtio_blk virtio_scsi ahci sd_mod ext4 >>"$root/etc/initramfs-tools/modules"
inside update-initramfs -u -k all
kernel=$(cd "$root/boot" && ls vmlinuz-* | tail -1)
mkdir -p "$root/boot/grub"
# tsc=reliable: an emulated processor's counter is, but Linux would not believe it and take a far slower clock
cat >"$root/boot/grub/grub.cfg" <<GRUB
linux /boot/$kernel root=LABEL=root ro console=ttyS0,115200 net.ifnames=0 mitigations=off quiet tsc=reliable audit=0 apparmor=0
initrd /boot/initrd.img-${kernel#vmlinuz-}
boot
GRUB

# -- kubeshim's own set-up, where the machines will have the checkout; what it needs of this machine is taken away again
rm -f "$root/etc/resolv.conf"
cp /etc/resolv.conf "$root/etc/resolv.conf"
for certificate in /usr/local/share/ca-certificates/*.crt; do
    [ ! -e "$certificate" ] || cp "$certificate" "$root/usr/local/share/ca-certificates/"
done
inside update-ca-certificates >/dev/null
mkdir -p "$root/opt/kubeshim/e2e"
cp "$checkout"/{setup.sh,requirements.lock,requirements-dev.lock,pyproject.toml} "$root/opt/kubeshim/"
cp "$checkout"/e2e/kubectl*.lock "$root/opt/kubeshim/e2e/"
inside env -u PIP_FIND_LINKS /opt/kubeshim/setup.sh run
rm -rf "$root/root/.cache"

ln -sf /run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/usr/share/{doc,man,locale}/*
