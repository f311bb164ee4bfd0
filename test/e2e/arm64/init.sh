#!/bin/sh
# The emulated machine's first process: makes a small Debian of what lies here, runs the test files named in /suites, one
# "path limitSeconds" a line, and switches the machine off. What they print stands between lines the host looks for.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 CI=true NO_COLOR=1
export PODSIDE_TEST_GO_CLIENT=/usr/local/bin/go-client
mkdir -p /proc /sys /dev /run /srv /media /mnt /root /var/tmp
mkdir -m 1777 -p /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
echo root:x:0:0:root:/root:/bin/sh > /etc/passwd
echo nobody:x:65534:65534:nobody:/:/bin/false >> /etc/passwd
echo root:x:0: > /etc/group
echo 127.0.0.1 localhost > /etc/hosts
echo nameserver 192.0.2.53 > /etc/resolv.conf
echo hosts: files dns > /etc/nsswitch.conf
hostname desk
echo desk > /etc/hostname
depmod
ip link set lo up
stty -F /dev/console -onlcr
cd /podside
while read -r suite limit; do
  echo "@@@ begin $suite"
  timeout -s KILL "$limit" bun test --timeout 300000 "./$suite" 2>&1 < /dev/null
  echo "@@@ end $suite $? $(cut -d ' ' -f 1 /proc/uptime)"
done < /suites
echo o > /proc/sysrq-trigger
sleep 60
