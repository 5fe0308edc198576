#!/bin/sh
# Installs the Debian packages that `make demo` or `make test` needs; asks nothing of the network when all are there.
# usage: setup.sh demo|test
set -eu

# kmod: depmod; xz-utils, zstd, lz4: kernels and modules are packed with them
packages="python3-venv qemu-system-x86 busybox-static kmod xz-utils zstd lz4"
if [ "$1" = test ]; then
    packages="$packages bpftool dwarves gcc gdb gcc-aarch64-linux-gnu iproute2 libc6-dev linux-perf mandoc netcat-openbsd procps"
    packages="$packages gcc-powerpc64le-linux-gnu gcc-riscv64-linux-gnu gcc-s390x-linux-gnu qemu-system-arm"
fi
# Up to bookworm virtiofsd is a part of QEMU's packages.
. /etc/os-release
if [ "${VERSION_ID:-13}" -ge 13 ]; then
    packages="$packages virtiofsd"
fi
# Bookworm has no gcc for LoongArch: there test_machine.py takes clang-16 where it is installed.
if [ "$1" = test ] && [ "${VERSION_ID:-13}" -ge 13 ]; then
    packages="$packages gcc-loongarch64-linux-gnu"
fi

missing=""
for package in $packages; do
    if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" != installed ]; then
        missing="$missing $package"
    fi
done
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    echo "these Debian packages are missing; as root: apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# A source of somebody else's that fails need not matter here: the installation says what is wrong.
apt-get -q update || true
# shellcheck disable=SC2086 # a list of words
apt-get -q -y --no-install-recommends install $missing
