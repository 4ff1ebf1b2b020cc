{{ mapped_rows('refund_item') }}
