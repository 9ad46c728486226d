"""Arguments that the edge's two entry points share: the feeder and Caddy's launcher."""

import argparse
from pathlib import PurePosixPath

from bex_operator.plan import edge_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where Caddy listens and keeps its files."""
    parser.add_argument("--admin-socket", type=PurePosixPath, required=True, metavar="FILE")
    parser.add_argument("--storage", type=PurePosixPath, required=True, metavar="DIR")
    parser.add_argument("--http-port", type=int, default=8080)
    parser.add_argument("--https-port", type=int, default=8443)
    parser.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="address to serve both ports on; may be given several times (default: 127.0.0.1)",
    )


def settings(args: argparse.Namespace) -> edge_config.Settings:
    """Collect what was given."""
    return edge_config.Settings(
        admin_socket=args.admin_socket,
        storage=args.storage,
        http_port=args.http_port,
        https_port=args.https_port,
        listen=tuple(args.listen or ("127.0.0.1",)),
    )
