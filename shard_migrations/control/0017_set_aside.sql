-- Records that were set aside are told like failures: a cause is a vendor, a stream and a reason.
alter table control.notices add column reason text;                  -- why records are set aside; null: not about records
alter table control.notice_affected add column records bigint;       -- how many of them are in quarantine
alter table control.notice_affected drop constraint notice_affected_ended_check;
-- small: who is affected by what is open now, and for 90 days after
alter table control.notice_affected add constraint notice_affected_ended_check
    check (ended in ('healed', 'another cause', 'paused', 'closed', 'given up'));
