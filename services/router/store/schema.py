"""The tables, in SQL that both databases understand."""

from services.router.store.records import ADDRESS_DIGITS

TABLES = (
    """
    create table runs (
        id text primary key,
        idempotency_key text unique,
        fingerprint text,
        client text not null,
        workflow text not null,
        digest text not null,
        labels text not null,
        request text not null,
        status text not null,
        cancelled integer not null default 0,
        owner text,
        lease_until double precision,
        attempts integer not null,
        accepted_at double precision not null,
        claimed_at double precision,
        ended_at double precision,
        outcome text,
        output text
    )
    """,
    """
    create table finished_jobs (
        run text not null,
        job text not null,
        part integer not null,
        visit integer not null,
        record text not null,
        primary key (run, job, part, visit)
    )
    """,
    """
    create table served_workflows (
        owner text not null,
        digest text not null,
        seen_at double precision not null,
        primary key (owner, digest)
    )
    """,
    "create index open_runs on runs (owner, client, id) where ended_at is null",
    "create index served_clients on runs (client, claimed_at)",
    f"create index served_addresses on runs (substr(client, 1, {ADDRESS_DIGITS}), claimed_at)",
    "create index ended_runs on runs (ended_at) where ended_at is not null",
)
