# Training, quantisation and export on NVIDIA GPUs; PyTorch's wheels bring the CUDA libraries, the host its driver.
#
#     docker build -f docker/train.Dockerfile -t tinyscene-train .
#     docker run --rm --gpus all --ipc host -v "$PWD:/data" tinyscene-train train cpm23 --data tau22 --out run
#
# Without --gpus it trains on the CPU. To pin the base by its digest, give --build-arg BASE=debian@sha256:..., as
# `docker buildx imagetools inspect debian:bookworm-slim` prints it; Python packages are
# pinned, with the hashes of their files, in locks/.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
LABEL org.opencontainers.image.title="tinyscene-train" \
      org.opencontainers.image.description="Training, quantisation and export of tinyscene, with CUDA" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN useradd --create-home --uid 1000 tinyscene && mkdir /data && chown tinyscene /data

ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PATH=/opt/tinyscene/bin:$PATH TINYSCENE_CACHE=/tmp/tinyscene
COPY docker/locks/export.txt docker/locks/build.txt /opt/tinyscene/
# The hashes exclude the CPU build of PyTorch, which an index may also have.
RUN python3 -m venv /opt/tinyscene && cd /opt/tinyscene \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement export.txt --requirement build.txt

WORKDIR /tmp/src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY tinyscene tinyscene
COPY export export
COPY firmware_harness firmware_harness
COPY runtime runtime
COPY training training
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && rm -rf /tmp/src/*
USER tinyscene
WORKDIR /data
ENTRYPOINT ["tinyscene"]
