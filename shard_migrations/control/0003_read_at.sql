-- When a stream was last read to the end of its window, by the vendor's clock, whether or not it had anything to tell.
alter table control.cursors add column read_at timestamptz;
