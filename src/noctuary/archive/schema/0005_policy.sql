-- The rules: each cycle has the id of the policy under which it ran last; null where it ran before
-- policies were kept. A cycle's status can be "stopped": neither done nor failed, to be taken up.
ALTER TABLE cycles ADD COLUMN policy VARCHAR;
