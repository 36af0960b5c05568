# The fleet's image: workers, beat, console and the sandbox. The engines are not in it: give it DULY_DATABASE_URL and
# DULY_BROKER_URL (docker-compose.yml does).
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN useradd --system --uid 10001 --home-dir /var/lib/duly --create-home --shell /usr/sbin/nologin duly

WORKDIR /src
COPY . .
RUN pip install -c constraints.txt '.[fast,sandbox,otel]' && rm -rf /src

WORKDIR /var/lib/duly
USER duly
ENV DULY_HOME=/var/lib/duly DULY_LOG_FORMAT=json
CMD ["duly", "--help"]
