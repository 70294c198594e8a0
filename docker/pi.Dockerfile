# The runtime on a Raspberry Pi (64-bit): `tinyscene run` and `bench` with LiteRT and ONNX Runtime; no PyTorch, no compiler.
#
#     docker build --platform linux/arm64 -f docker/pi.Dockerfile -t tinyscene-pi .
#     docker run --rm -v "$PWD:/data" tinyscene-pi run bundle clip.wav
#
# On other processors than arm64, building and running need QEMU's user emulation registered with the kernel (binfmt_misc).
# Without /sys in the container LiteRT runs without XNNPACK, and scores differ by a unit; `verify` and `bench` print a note.
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
COPY docker/locks/pi.txt docker/locks/build.txt docker/
RUN python3 -m venv /opt/tinyscene \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement docker/pi.txt --requirement docker/build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY tinyscene tinyscene
COPY export export
COPY firmware_harness firmware_harness
COPY runtime runtime
COPY training training
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip uninstall --yes pip setuptools

FROM ${BASE}
LABEL org.opencontainers.image.title="tinyscene-pi" \
      org.opencontainers.image.description="The runtime of tinyscene for a Raspberry Pi" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN apt-get update && apt-get install -y --no-install-recommends python3 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN useradd --create-home --uid 1000 tinyscene && mkdir /data && chown tinyscene /data
COPY --from=python /opt/tinyscene /opt/tinyscene
ENV PATH=/opt/tinyscene/bin:$PATH
USER tinyscene
WORKDIR /data
ENTRYPOINT ["tinyscene"]
