-- Up to which snapshot of its shard a business's marts are in files; exports where nothing is new do not begin.
create table control.exports (
    business int not null references control.businesses (business) on delete cascade,
    store text not null,               -- folder or URL: where the files are
    shard text not null,
    system_identifier bigint not null, -- of the cluster that gave the snapshot: on another one it means nothing
    snapshot text not null,
    exported_at timestamptz not null default clock_timestamp(),
    primary key (business, store)
);
