"""What the infra server is told when it starts: one k3s, pinned and checked, reachable by name.

Source: k3s documentation, "Configuration file"; cloud-init's `write_files` and `runcmd`.
"""

import json

FOLDER = "/etc/rancher/k3s"
BINARY = "/usr/local/bin/k3s"
UNLOCKED = "0" * 64
"""Stands where no checksum is locked: the check on the server then fails, as it should."""

_UNIT = f"""\
[Unit]
Description=k3s, Kubernetes of the infra cluster
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={BINARY} server
KillMode=process
Delegate=yes
LimitNOFILE=1048576
Restart=always
RestartSec=5s

[Install]
WantedBy=multi-user.target
"""


def user_data(url: str, sha256: str | None, address: str) -> str:
    """Render cloud-init's document; no secret is in it, for every pod on the server can read it.

    *address* is the server's public one, which its certificate must name.
    """
    checked = f"{sha256 or UNLOCKED}  {BINARY}"
    config = {
        "disable": ["traefik", "servicelb", "metrics-server", "local-storage"],
        "tls-san": [address],
        "node-external-ip": address,
        "write-kubeconfig-mode": "0600",
        "secrets-encryption": True,
        "kubelet-arg": ["max-pods=60"],
    }
    document = {
        "package_update": False,
        "write_files": [
            _file(f"{FOLDER}/config.yaml", json.dumps(config, indent=2)),
            _file("/etc/systemd/system/k3s.service", _UNIT),
            _file("/run/k3s.sha256", f"{checked}\n"),
        ],
        "runcmd": [
            [
                *("curl", "--fail", "--silent", "--show-error", "--location"),
                *("--retry", "10", "--output", BINARY, url),
            ],
            # A file that is not the pinned one is removed, and k3s does not start.
            ["sh", "-c", f"sha256sum --check /run/k3s.sha256 || {{ rm -f {BINARY}; exit 1; }}"],
            ["chmod", "0755", BINARY],
            ["systemctl", "enable", "--now", "k3s"],
        ],
    }
    return f"#cloud-config\n{json.dumps(document, indent=2)}\n"


def _file(path: str, content: str) -> dict[str, str]:
    return {"path": path, "owner": "root:root", "permissions": "0600", "content": content}
