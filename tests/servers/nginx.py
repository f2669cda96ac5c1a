"""nginx in front of a gateway, with an access log of its own in the combined format."""

import os
import subprocess
from pathlib import Path

from servers.keeper import closed_if_it_fails
from servers.ports import free_port
from servers.programs import program
from servers.site import until

from protocols.net.tls import TLS

_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{more}
    server {{
        listen 127.0.0.1:{port}{options};
{location}
    }}
}}
"""


_LOCATION = """
location / {{
    proxy_pass http://127.0.0.1:{behind};
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
}}
"""


class Nginx:
    """nginx that passes requests on to ``behind``, a port, or by ``location``, a block of its configuration. ``more``
    comes before its server. With ``tls`` it speaks HTTPS, with ``http2`` HTTP/2."""

    def __init__(
        self,
        folder: Path,
        behind: int,
        tls: TLS | None = None,
        location: str = "",
        more: str = "",
        *,
        http2: bool = False,
    ) -> None:
        folder.mkdir()
        self.port = free_port()
        self.access_log = folder / "access.log"
        config = folder / "nginx.conf"
        location = location or _LOCATION.format(behind=behind)
        files = f" ssl; ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key}" if tls is not None else ""
        options = " http2" * http2 + files
        user = "user root;" if os.geteuid() == 0 else ""  # so that its worker reaches the sockets of tests
        settings = {
            "user": user,
            "folder": folder,
            "port": self.port,
            "options": options,
            "location": location,
            "more": more,
        }
        config.write_text(_CONFIG.format(**settings))
        self._process = subprocess.Popen([program("nginx"), "-p", str(folder), "-c", str(config)])
        with closed_if_it_fails(self.close):
            until((folder / "nginx.pid").exists, "nginx runs")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
