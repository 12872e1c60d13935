-- Parts that were merged away are looked for once a second instead of half a minute after a start
-- and later. A store that is killed again and again would keep them all and load them at every
-- start: after 800 kills within half an hour 10,000 of them, and a start of 2 s instead of 0.7 s.

ALTER TABLE hf_store.metric_window MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;
ALTER TABLE hf_store.ingest_window MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;
ALTER TABLE hf_store.cost_day MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;
ALTER TABLE hf_store.verdict MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;
ALTER TABLE hf_store.action MODIFY SETTING cleanup_delay_period = 1, cleanup_delay_period_random_add = 0;
