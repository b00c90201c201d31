# Caddy that needs no root: it listens on ports above 1023, so its program needs no capability.
FROM caddy:2.11-alpine
RUN setcap -r /usr/bin/caddy && chown -R 10002:10002 /data /config
USER 10002:10002
EXPOSE 8080 8443
