# `tinyscene firmware`: C compilers and emulators of every target, and the runtime; no PyTorch.
#
#     docker build -f docker/firmware.Dockerfile -t tinyscene-firmware .
#     docker run --rm -v "$PWD:/data" tinyscene-firmware firmware bundle --target cortex-m4 --run
#
# To pin the base by its digest, give --build-arg BASE=debian@sha256:..., as
# `docker buildx imagetools inspect debian:bookworm-slim` prints it; Python packages are
# pinned, with the hashes of their files, in locks/.
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS python
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PATH=/opt/tinyscene/bin:$PATH
WORKDIR /tmp/src
COPY docker/locks/firmware.txt docker/locks/build.txt docker/
RUN python3 -m venv /opt/tinyscene \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement docker/firmware.txt --requirement docker/build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY tinyscene tinyscene
COPY export export
COPY firmware_harness firmware_harness
COPY runtime runtime
COPY training training
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip uninstall --yes pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="tinyscene-firmware" \
      org.opencontainers.image.description="tinyscene firmware with C compilers and emulators" \
      org.opencontainers.image.licenses="Apache-2.0"
# Two thirds of the files of these packages are for processors without a target.
RUN printf 'path-exclude=%s\n' '/usr/bin/qemu-system-*' '/usr/bin/*-lto-dump*' '/usr/lib/*/rv64*' '/usr/lib/picolibc/*/release/*' \
        '/usr/lib/*/thumb/v[78]-a*' '/usr/lib/*/thumb/v7-r*' '/usr/lib/*/thumb/v7ve*' '/usr/lib/arm-none-eabi/newlib/arm/*' \
        >/etc/dpkg/dpkg.cfg.d/targets \
    && printf 'path-include=%s\n' /usr/bin/qemu-system-arm /usr/bin/qemu-system-riscv32 /usr/bin/qemu-system-xtensa >>/etc/dpkg/dpkg.cfg.d/targets \
    && apt-get update && apt-get install -y --no-install-recommends \
        python3 make cmake gcc libc6-dev \
        qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi \
        qemu-system-misc gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf \
        gcc-xtensa-lx106 picolibc-xtensa-lx106-elf \
        clang lld wasi-libc libclang-rt-dev-wasm32 nodejs \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN useradd --create-home --uid 1000 tinyscene && mkdir /data && chown tinyscene /data
COPY --from=python /opt/tinyscene /opt/tinyscene
ENV PATH=/opt/tinyscene/bin:$PATH TINYSCENE_CACHE=/tmp/tinyscene
USER tinyscene
WORKDIR /data
ENTRYPOINT ["tinyscene"]
