-- The vendors' clock, and which location a campaign advertises.

-- One row where the vendors live by a clock of their own (a sandbox); no row means the database's now().
create table {keys}.clock (
    only_row boolean primary key default true check (only_row),
    now timestamptz not null
);

-- Dated, editable map from a campaign to the one location it advertises. [valid_from, valid_to) on the ad account's dates.
-- A campaign without a row is unallocated: spend goes to a location by a person's decision only, never by its name.
create table {keys}.campaign_location_map (
    source_campaign_id bigint not null references {keys}.source_campaign (id) on delete cascade,
    location_id bigint not null references {keys}.location (id),
    valid_from date not null default '-infinity',
    valid_to date not null default 'infinity' check (valid_to > valid_from),
    rule text not null default 'approved' check (rule = 'approved'),
    confidence numeric(3, 2) not null default 1 check (confidence between 0 and 1),
    decided_by text not null,
    decided_at timestamptz not null default now(),
    primary key (source_campaign_id, valid_from),
    constraint campaign_location_map_one_business
        check ({keys}.business_of(source_campaign_id) = {keys}.business_of(location_id))
);
create index on {keys}.campaign_location_map (location_id);
