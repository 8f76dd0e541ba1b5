-- What is left of a claim of several jobs says which one it was.
-- oldest-binary: 2

alter table chimp.job_claim add column part_of bigint;
comment on column chimp.job_claim.part_of is
	'The token of the claim of several jobs that this one was a part of; null: of none.';
