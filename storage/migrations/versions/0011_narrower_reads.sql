-- What a drain reads of a party comes by the primary keys. Beside them stood wider indexes that also begin with the party,
-- kept for the sake of uniqueness, and the planner took those: two times the pages. Uniqueness is kept by indexes that
-- begin with something else; that of addresses also finds everyone who shares one.
CREATE UNIQUE INDEX address_shared ON address (lookup, party_id, customer_id, channel);
DROP INDEX address_once;
DROP INDEX address_lookup;
CREATE UNIQUE INDEX consent_given ON consent (customer_id, party_id, channel, purpose, lookup) NULLS NOT DISTINCT;
DROP INDEX consent_once;

-- A party has few accounts.
DROP INDEX account_customer;
