-- 1,024 parties in a row share a shard (domain/lane.py): what is still to go moves there. Where a reminder that has ended
-- once stood does not matter.
UPDATE reminder SET shard = (party_id / 1024 % 16)::smallint WHERE state IN ('planned', 'intended');
