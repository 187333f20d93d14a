"""`recurra serve`: models at work for whoever connects, thousands of sessions in one process."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recurra.serve.replica import Job


def serve(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Model files; NAME=FILE gives one another name.", show_default=False),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; another than the loopback needs --tokens.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")] = 8080,
    store: Annotated[Path | None, typer.Option(help="A file for sessions that outlive the process.")] = None,
    durable: Annotated[
        bool, typer.Option("--durable", help="Have every step in the store before it is answered.")
    ] = False,
    takeover: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for another server to leave the store and the port.")
    ] = 0.0,
    tokens: Annotated[
        Path | None,
        typer.Option(help="A file with a token, a name and limits a line: `TOKEN alice rate=100 admin`."),
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option(help="A web page's origin that may use the server, beside its own page.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="A name by which clients reach the server.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="A PEM file: speak TLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key, where it is in another file.")] = None,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions at most, in memory and in the store.")] = 100_000,
    live: Annotated[int, typer.Option(min=1, help="Sessions in memory at most; others wait in the store.")] = 20_000,
    sockets: Annotated[int, typer.Option(min=1, help="Connections at most.")] = 4096,
    frame: Annotated[int, typer.Option(min=64, help="Bytes of a frame or a body at most.")] = 1 << 20,
    queue: Annotated[int, typer.Option(min=1, help="Steps that wait at most.")] = 200_000,
    window: Annotated[int, typer.Option(min=1, help="Answers kept for a client that comes back.")] = 32,
    idle: Annotated[float, typer.Option(min=0.05, help="Seconds until an unused session goes to the store.")] = 300.0,
    conflate: Annotated[
        bool, typer.Option("--conflate", help="Send slow readers the newest answers only, in place of dropping them.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="local, or ray: sessions on the replicas of a cluster (RAY_ADDRESS), by REST.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Replicas on Ray; --store is then a folder.", show_default=False)
    ] = None,
    log: Annotated[str, typer.Option(help="How much is logged: debug, info, warning or error.")] = "warning",
) -> None:
    """Serve models: sessions over REST and WebSockets, the Open Inference
    Protocol, a page that shows a session live, and metrics for Prometheus.

    A session is a state of a model that lives in the server. It takes steps,
    one or many a call, and answers each as its task decodes it. It is there
    until it is deleted: sessions that are not used go to the disk and come
    back with their next step, in the same bits.

    With --store sessions outlive the process: SIGTERM writes them there, and
    the next server goes on with them. With --durable nothing that was answered
    is lost whenever the process dies. SIGHUP reads the model files again: a new
    version takes the sessions over.

    \b
    recurra serve demand.recurra --store sessions.db --durable
    """
    from recurra.cluster import chosen_engine
    from recurra.errors import SettingError, need

    on_ray = chosen_engine("serve", engine, workers, "fastapi", "pandas")
    need("recurra serve", "starlette", "uvicorn", "uvloop", "picows", "msgspec", "prometheus_client", extra="serve")
    from recurra.serve.access import Access, read_tokens
    from recurra.serve.limits import Limits
    from recurra.serve.replica import Job
    from recurra.serve.run import bound, log_to_stderr, run
    from recurra.serve.served import open_served
    from recurra.serve.server import Server, check_certificate, names_of

    if log not in ("debug", "info", "warning", "error"):
        raise SettingError(f"--log is {log!r}, expected debug, info, warning or error")
    if on_ray and (conflate or takeover):
        raise SettingError("--conflate and --takeover are a single server's, expected neither with --engine ray")
    if durable and store is None:
        raise SettingError("--durable has no place to write to, expected --store FILE with it")
    if key is not None and certificate is None:
        raise SettingError("--key has no certificate, expected --certificate FILE with it")
    if not _is_loopback(host) and tokens is None:
        raise SettingError(f"--host {host} lets other machines in, expected --tokens FILE with it: who may connect")
    if certificate is not None:
        check_certificate(certificate, key)
    paths = names_of(models)
    served = {called: open_served(path, called) for called, path in paths.items()}
    hosts = {"localhost", "127.0.0.1", "[::1]", host, *(name or [])} if _is_loopback(host) or name else set()
    access = Access({} if tokens is None else read_tokens(tokens), hosts, origin or [])
    limits = Limits(sessions, live, queue, frame, window, idle, sockets)
    log_to_stderr(log)
    if on_ray:
        contents = {called: path.read_bytes() for called, path in paths.items()}
        _serve_on_ray(Job(contents, store, limits, access, durable), workers or 2, host, port, certificate, key)
        return
    sock = None if takeover else bound(host, port)
    try:
        server = Server(served, store, limits, access, durable, conflate, takeover)
        sock = sock or bound(host, port, takeover)
        run(
            server,
            sock,
            certificate=certificate,
            key=key,
            ready=lambda url: typer.echo(f"serving {', '.join(served)} at {url}"),
            reload=server.reload,
        )
    finally:
        if sock is not None:
            sock.close()


def _serve_on_ray(job: Job, workers: int, host: str, port: int, certificate: Path | None, key: Path | None) -> None:
    from recurra.cluster import connected
    from recurra.serve.on_ray import start, stores
    from recurra.serve.run import bound, run

    stores(job.store, workers)
    with bound(host, port) as sock, connected(workers) as ray:
        edge, applications = start(job, workers)
        said = f"{', '.join(job.models)} on {workers} replicas"
        try:
            run(edge, sock, certificate=certificate, key=key, ready=lambda url: typer.echo(f"serving {said} at {url}"))
        finally:
            for name in applications:
                ray.serve.delete(name)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
