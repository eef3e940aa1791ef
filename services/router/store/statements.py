"""What the store says to its database; every statement returns rows, and means the same to both databases."""

from services.router.store.records import ADDRESS_DIGITS, CLAIMED, LISTED, SHOWN

# A run that nobody owns may have a lease too: it was given back, to be tried again later.
_MAY_BE_CLAIMED = "ended_at is null and (lease_until is null or lease_until <= (select seconds()))"

ACCEPT = """
insert into runs (
    id, idempotency_key, fingerprint, client, workflow, digest, labels, request, accepted_at,
    status, owner, attempts, claimed_at, lease_until
)
select
    :id, :key, :fingerprint, :client, :workflow, :digest, :labels, :request, seconds(),
    :status, :owner, :attempts,
    case when :attempts = 1 then seconds() end,
    case when :attempts = 1 then seconds() + :lease_s end
where true
on conflict do nothing
returning id
"""

WAITING = "select client, count(*) from runs where ended_at is null and owner is null group by client"

EARLIER = f"select {SHOWN}, fingerprint from runs where id = :id or idempotency_key = :key"  # noqa: S608  # ours

# What another living router serves and this one does not is left to that one.
# Addresses take turns, and so do the clients of each: first the oldest run of each, and among those the one whose
# address or client was served least lately.
CLAIM = f"""
with free as materialized (
    select id, client, accepted_at from runs
    where {_MAY_BE_CLAIMED}
        and (
            digest in (select digest from served_workflows where owner = :owner)
            or digest not in (select digest from served_workflows where seen_at > (select seconds()) - :lease_s)
        )
),
waiting as (
    select
        id,
        accepted_at,
        substr(client, 1, {ADDRESS_DIGITS}) as address,
        row_number() over (partition by client order by accepted_at, id) as turn,
        (select max(claimed_at) from runs as served where served.client = free.client) as served_at
    from free
),
ranked as (
    select
        id,
        accepted_at,
        row_number() over (
            partition by address order by turn, coalesce(served_at, 0), accepted_at, id
        ) as turn,
        (
            select max(claimed_at) from runs as served
            where substr(served.client, 1, {ADDRESS_DIGITS}) = waiting.address
        ) as served_at
    from waiting
),
chosen as materialized (
    select id from runs
    where {_MAY_BE_CLAIMED}
        and id in (select id from ranked order by turn, coalesce(served_at, 0), accepted_at, id limit :most)
    {{skip_locked}}
)
update runs
set status = 'processing', owner = :owner, attempts = attempts + 1, claimed_at = seconds(),
    lease_until = seconds() + :lease_s
where id in (select id from chosen)
returning {CLAIMED}
"""  # noqa: S608  # ours

SERVE = """
insert into served_workflows (owner, digest, seen_at) values (:owner, :digest, seconds())
on conflict (owner, digest) do update set seen_at = excluded.seen_at
returning digest
"""

SERVE_NO_MORE = """
delete from served_workflows where owner = :owner or seen_at <= (select seconds()) - :lease_s
returning digest
"""

RENEW = """
update runs set lease_until = seconds() + :lease_s
where id = :id and owner = :owner and ended_at is null
returning id
"""

ASKED_TO_END = "select id from runs where owner = :owner and ended_at is null and cancelled = 1"

FINISH = """
update runs
set status = :status, outcome = :outcome, output = :output, ended_at = seconds(), owner = null, lease_until = null,
    request = ''
where id = :id and owner = :owner and ended_at is null
returning id
"""

FORGET_JOBS = """
delete from finished_jobs
where run = :id and exists (select 1 from runs where id = :id and ended_at is not null)
returning run
"""

NOTE = """
insert into finished_jobs (run, job, part, visit, record)
select :id, :job, :part, :visit, :record
where exists (select 1 from runs where id = :id and owner = :owner)
on conflict do nothing
returning run
"""

NOTED = "select job, part, visit, record from finished_jobs where run = :id"

HAND_BACK = """
update runs
set status = 'pending', owner = null, attempts = attempts - 1,
    lease_until = case when :delay_s > 0 then seconds() + :delay_s end
where id = :id and owner = :owner and ended_at is null
returning id
"""

# A run that nobody works on ends at once; of another one its router learns that it is wanted no more.
CANCEL = f"""
update runs
set cancelled = 1,
    status = case when owner is null then 'cancelled' else status end,
    outcome = case when owner is null then :outcome else outcome end,
    ended_at = case when owner is null then seconds() else ended_at end
where id = :id and ended_at is null
returning {SHOWN}
"""  # noqa: S608  # ours

END_OVERDUE = """
update runs set status = 'failed', outcome = :outcome, ended_at = seconds()
where ended_at is null and owner is null and accepted_at <= (select seconds()) - :timeout_s
returning id
"""

GET = f"select {SHOWN} from runs where id = :id"  # noqa: S608  # ours

RECENT = f"select {LISTED} from runs where id < :before order by id desc limit :most"  # noqa: S608  # ours

EXPIRE = """
delete from runs
where id in (select id from runs where ended_at <= (select seconds()) - :retention_s order by ended_at limit :most)
returning id
"""
