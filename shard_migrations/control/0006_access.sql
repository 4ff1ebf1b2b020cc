-- Read roles of businesses. Their names say nothing of whose they are: every user of a server sees the names of all roles.
create table control.access (
    business int primary key references control.businesses (business),
    role text not null unique check (role ~ '^t_[0-9a-f]{16}$'),
    secret_ref text not null,               -- env:NAME or file:PATH; a password never stands here
    reads_raw boolean not null default false,
    workspace_bytes bigint check (workspace_bytes > 0),  -- null: no schema of its own to write in
    granted_at timestamptz not null default clock_timestamp(),
    rotated_at timestamptz not null default clock_timestamp()
);
