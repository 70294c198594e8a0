/* ESP-IDF starts a program by app_main, in a task of its own. */
int main(void);
void app_main(void);

void app_main(void) {
    (void)main();
}
