-- The collection quality_reports: its filters find by index.

select chimp.collection_index('quality_reports', 'orderId');
select chimp.collection_index('quality_reports', 'reviewer');
