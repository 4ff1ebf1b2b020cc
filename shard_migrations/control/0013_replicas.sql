-- Where streaming replicas of an instance are reached. They have its databases, roles and passwords; reads may go there.
create table control.replicas (
    instance text not null references control.instances (instance) on delete cascade,
    host text not null,
    port int not null check (port between 1 and 65535),
    added_at timestamptz not null default now(),
    primary key (instance, host, port)
);
