# docker build -t turnout .                            the CPU image, with all extras
# docker build -t turnout --build-arg LOCK=core .      without Ray and BentoML
# docker build -t turnout:gpu --target gpu .           with CUDA libraries; the driver comes from the host
# docker run -p 8000:8000 -p 8001:8001 -p 8002:8002 -v "$PWD/configs:/etc/turnout:ro" turnout
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS wheel
WORKDIR /src
COPY requirements/build.txt requirements/
RUN pip install --no-cache-dir --no-input --disable-pip-version-check --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY runners runners
COPY strategies strategies
COPY observability observability
RUN python -m hatchling build --target wheel --directory /wheel

# The lock is a layer of its own, so that a change of code does not install everything again.
FROM python:${PYTHON}-slim AS cpu-environment
ARG LOCK=all
RUN python -m venv /opt/turnout
COPY requirements/${LOCK}.txt /lock.txt
RUN /opt/turnout/bin/pip install --no-cache-dir --no-input --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /lock.txt
COPY --from=wheel /wheel /wheel
RUN /opt/turnout/bin/pip install --no-cache-dir --no-input --disable-pip-version-check --no-index --no-deps /wheel/*.whl

FROM python:${PYTHON}-slim AS gpu-environment
RUN python -m venv /opt/turnout
COPY requirements/gpu.txt /lock.txt
RUN /opt/turnout/bin/pip install --no-cache-dir --no-input --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /lock.txt
COPY --from=wheel /wheel /wheel
RUN /opt/turnout/bin/pip install --no-cache-dir --no-input --disable-pip-version-check --no-index --no-deps /wheel/*.whl

FROM python:${PYTHON}-slim AS runtime
LABEL org.opencontainers.image.title="Turnout" \
      org.opencontainers.image.description="A model-serving gateway that owns deployment strategies" \
      org.opencontainers.image.licenses="Apache-2.0"
# Turnout writes to /var/lib/turnout alone, so the root may be mounted read-only (Ray also wants a writable /tmp). The
# root group may write there, too: clusters that deal out user ids put them all into it.
RUN groupadd --gid 10001 turnout \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/turnout --shell /usr/sbin/nologin turnout \
    && install -d -o 10001 -g 0 -m 0775 /var/lib/turnout \
    && install -d /etc/turnout
ENV PATH=/opt/turnout/bin:$PATH \
    HOME=/var/lib/turnout \
    BENTOML_HOME=/var/lib/turnout/bentoml \
    BENTOML_DO_NOT_TRACK=True \
    RAY_USAGE_STATS_ENABLED=0 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/turnout
USER 10001:10001
VOLUME /var/lib/turnout
EXPOSE 8000 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
ENTRYPOINT ["turnout"]
CMD ["serve", "/etc/turnout", "--host", "0.0.0.0"]

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=gpu-environment /opt/turnout /opt/turnout

# Last, so that it is what a build without --target makes.
FROM runtime AS cpu
COPY --from=cpu-environment /opt/turnout /opt/turnout
