INSERT INTO main.shop.orders
SELECT order_id + 1000, ordered_on, customer, status, amount FROM main.shop.orders WHERE order_id <= 1010
