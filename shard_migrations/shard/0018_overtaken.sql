-- A record that was set aside is done with when its key is known in a later state: nobody has to give it up by hand.
alter table {raw}.quarantine
    add column modified_at timestamptz;  -- when it was last modified, where it says so in a way that can be believed
alter table {raw}.quarantine drop constraint quarantine_state_check;
-- small: records that were set aside
alter table {raw}.quarantine
    add constraint quarantine_state_check check (state in ('open', 'resolved', 'discarded', 'overtaken'));
