"""What the dashboard tells everybody: counts, what is safe where, receipts."""
