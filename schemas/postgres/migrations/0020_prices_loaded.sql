-- A million prices are loaded in seconds: what is checked and sorted for each of them is kept cheap.
-- Digits sort the same in every collation; bytes are compared three times as fast as a language's letters.
ALTER TABLE prices ALTER COLUMN code TYPE text COLLATE "C";
-- The same rule without a regular expression, which cost as much as the row: 1 to 15 of the digits 0 to 9.
ALTER TABLE prices DROP CONSTRAINT prices_code_check;
ALTER TABLE prices ADD CONSTRAINT prices_code_check
    CHECK (length(code) BETWEEN 1 AND 15 AND translate(code, '0123456789', '') = '');
