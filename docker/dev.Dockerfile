# All of tinyscene, on the CPU: training, export, firmware of all targets, linters and tests.
#
#     docker build -f docker/dev.Dockerfile -t tinyscene-dev .
#     docker run --rm -v "$PWD:/data" tinyscene-dev check bundle
#     docker run --rm -v "$PWD:/src" --entrypoint python -w /src tinyscene-dev -m pytest -m "not slow"
#
# The install is editable: a clone mounted at /src replaces the sources. To pin the base by its digest, give
# --build-arg BASE=debian@sha256:..., as `docker buildx imagetools inspect debian:bookworm-slim` prints it; Python packages
# are pinned, with the hashes of their files, in locks/. --build-arg PIP_EXTRA_INDEX_URL names a package index that has the CPU build of PyTorch;
# without it the default build is installed, which works as well and is some gigabytes larger.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
LABEL org.opencontainers.image.title="tinyscene-dev" \
      org.opencontainers.image.description="All of tinyscene, on the CPU" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN apt-get update && apt-get install -y --no-install-recommends \
        python3 python3-venv git make cmake gcc libc6-dev clang lld \
        qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi \
        qemu-system-misc gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf \
        gcc-xtensa-lx106 picolibc-xtensa-lx106-elf \
        wasi-libc libclang-rt-dev-wasm32 nodejs \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN useradd --create-home --uid 1000 tinyscene && mkdir /data /src && chown tinyscene /data /src

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PATH=/opt/tinyscene/bin:$PATH TINYSCENE_CACHE=/tmp/tinyscene
COPY docker/constraints.txt docker/requirements.py docker/locks/all.txt /opt/tinyscene/
# The CPU build of PyTorch comes from an index of its own, whose files the lock does not have.
RUN python3 -m venv /opt/tinyscene && cd /opt/tinyscene \
    && torch=$(sed -n 's/^torch==//p' constraints.txt) \
    && { pip install --no-cache-dir "torch==$torch+cpu" || pip install --no-cache-dir "torch==$torch"; } \
    && python requirements.py all.txt --without-cuda >requirements.txt \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt

WORKDIR /src
COPY --chown=tinyscene . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
USER tinyscene
WORKDIR /data
ENTRYPOINT ["tinyscene"]
