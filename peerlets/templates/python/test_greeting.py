import unittest

from greeting import Letter, greeting, key_of, read, write


class Greetings(unittest.TestCase):
    def test_a_letter_comes_out_as_it_went_in(self):
        for letter in (Letter(False, 7, "Ada"), Letter(True, 2**64 - 1, "Hello, Ädä!")):
            self.assertEqual(read(write(letter)), letter)

    def test_what_is_no_letter_is_refused(self):
        for payload in (b"", b"\0" * 9, b"\2" + b"x" * 9, b"\0" * 9 + b"\xff", b"\0" * 2000):
            with self.assertRaises(ValueError):
                read(payload)

    def test_the_first_greeting_does_not_count_aloud(self):
        self.assertEqual(greeting("Ada", 1), "Hello, Ada!")
        self.assertEqual(greeting("Ada", 2), "Hello, Ada! That is greeting 2.")

    def test_a_key_is_the_sha1_of_the_name(self):
        self.assertEqual(key_of(b"abc"), (0xA9993E364706816A, 0xBA3E25717850C26C, 0x9CD0D89D))


if __name__ == "__main__":
    unittest.main()
