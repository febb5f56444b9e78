"""Publishing the store to a data set on the Hub, shard by shard, and getting it back from there."""
